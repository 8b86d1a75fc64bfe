"""The research side: from resources of any number of sites to a consented, de-identified dataset."""
