"""The legacy completions: wire (what is asked), shapes (what is answered), answer (running the calls)."""
