"""Write the report of a study from its tables: findings, claims, methods and the page."""
