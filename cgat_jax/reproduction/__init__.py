"""The paper's tables and figures, and studies: many runs, and what they show."""
