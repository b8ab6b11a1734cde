"""What the real CLI and its SDKs do, by version: observed facts, not documentation."""
