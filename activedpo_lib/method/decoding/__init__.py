"""Token by token: what keeps a batch's keys and values between the steps, and how one is drawn."""
