"""The fabric that joins the services: at-least-once delivery, effects applied once, one order per patient."""
