"""What every command does alike: parameters, locks, termination."""
