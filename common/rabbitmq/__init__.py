"""Everything that speaks AMQP: topology, sources and publishing. The only package that imports aio-pika."""
