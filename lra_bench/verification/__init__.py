"""Check that attentions and tasks keep their contract, by running them."""
