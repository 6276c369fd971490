"""The interactive documentation at `/docs`: a page of this service alone, which needs no internet."""
