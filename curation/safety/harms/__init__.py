"""Ask labelers about categories of harm, read their answers, and weigh them."""
