"""The parts of the `ultralytics` backend, one idea a file; ultralytics itself is imported inside functions only."""
