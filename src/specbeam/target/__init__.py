"""The target model (and the draft's starting point): language-model training, and inference on the test users."""
