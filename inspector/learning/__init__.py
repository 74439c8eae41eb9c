"""Offline: a recipe from good images (``train``): teachers, students, distillation, export. The only user of torch."""
