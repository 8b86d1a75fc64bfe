"""What only the reference validator can prove. Needs Java 17 and Maven; run with ``make acceptance``."""
