"""Files of any form -> tables."""
