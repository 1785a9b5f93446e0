"""Many runs of one configuration, over settings and seeds."""
