"""What a pruning run gives: result.json, its page, tables, examples and the hand-in."""
