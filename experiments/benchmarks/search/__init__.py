"""Searches for prompts side by side: same model, same scores, same ledger of logical tokens."""
