"""The parts of the coordinator: who is connected, messages to events, actions to messages, the journal in the store,
watchers."""
