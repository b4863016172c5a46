"""Training: a base from scratch (`base`), an adapter on lessons (`adapting`)."""
