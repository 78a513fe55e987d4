"""What is tried, what came out, and the store that keeps both."""
