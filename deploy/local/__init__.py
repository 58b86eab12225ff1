"""The local stack: real PostgreSQL and real Apache Kafka without Docker, and the services on top of them."""

from deploy.local.process import StackError
from deploy.local.supervisor import Addresses, AlreadyRunning, LocalStack

__all__ = ["Addresses", "AlreadyRunning", "LocalStack", "StackError"]
