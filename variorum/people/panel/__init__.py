"""Review by people: the queue of questions, who is asked what next, and the pages that ask."""
