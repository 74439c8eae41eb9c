"""Offline: images, teachers, students, distillation, export, limits, evaluation; the only user of torch."""
