"""`daf completion`: the script that teaches a shell to complete daf's commands, job types, options and paths."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

WHERE = {
    "bash": 'add to ~/.bashrc:  eval "$(daf completion bash)"',
    "zsh": 'add to ~/.zshrc:  eval "$(daf completion zsh)"',
    "fish": "daf completion fish > ~/.config/fish/completions/daf.fish",
}


@click.command(epilog="; ".join(WHERE.values()))
@click.argument("shell", type=click.Choice(list(WHERE)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the shell's completion script."""
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(ctx.find_root().command, {}, "daf", "_DAF_COMPLETE").source())
