"""Any network measured with one call, and the page of its result."""
