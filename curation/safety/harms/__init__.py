"""Plain functions and data behind `safety`: categories, calls to labelers, and what their opinions come to."""
