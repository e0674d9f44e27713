"""What a worker process is made of; `mapreduce.worker` puts it together and `mapreduce.slot` is its child process.

| module | what it does |
|---|---|
| `host` | this host's id, the node's data directory, cleaning up after the dead |
| `frames` | messages between a worker and a slot: length-prefixed frames over a pair of sockets |
| `gauge` | one page of shared memory in which a slot says what it runs and since when |
| `ledger` | which attempts are held, by which slot, and which results the coordinator has not acknowledged |
| `zygote` | a process that has loaded what others need, and forks them |
| `forks` | such a process, and those that it forked, as their owner sees them |
| `nursery` | where slots come from |
| `start` | runs a worker from its settings as JSON |
| `pool` | the slots together: who gets what, and what becomes of the work of one that dies |
| `link` | the connection to the coordinator |
| `janitor` | deletes released blobs |
| `settings` | what a worker can be told, and what it tells its slots |
| `slotwire` | the conversation of a worker and its slot |
| `process` | one slot as its worker sees it: start, watch, kill, and the post-mortem |
| `limits` | what a task may take: what a child sets for itself |
| `usage` | what tasks and all that they started take: what their parent watches |
| `failure` | an exception or a dead process as plain data, the user's own frames first |
"""
