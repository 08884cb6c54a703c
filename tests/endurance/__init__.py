"""Full load for as long as one likes: what a service holds of the machine must not grow."""
