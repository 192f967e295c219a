"""What the target would recommend to training users, and with which probabilities: the draft's teacher."""
