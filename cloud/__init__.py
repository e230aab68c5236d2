"""The other side: accounts, workspaces' heads, and the blobs behind them."""
