"""The audit trail: what it holds, that nobody can change it unnoticed, and that nothing leaves without it."""
