"""The Spark room: the session, and for every stage a wrapper of the same name as its pure verb."""
