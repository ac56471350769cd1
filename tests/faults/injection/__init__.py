"""Text from outside that is code somewhere, sent through everything that the project writes."""
