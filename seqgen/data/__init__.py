"""Data modules, and how their files come here. Import the modules by name: some of them need Lightning."""
