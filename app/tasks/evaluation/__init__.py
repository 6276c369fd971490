"""What tasks share to evaluate versions: the contract, resampling, and what is added up over examples."""
