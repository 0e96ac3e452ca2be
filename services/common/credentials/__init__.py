"""What opens the door: API keys as text and as the file that the gateway reads, and scopes."""
