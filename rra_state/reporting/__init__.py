"""What is where, for people and machines: the assessment, and the forms in which it is shown."""
