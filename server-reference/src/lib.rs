//! The Tidings server: Socket.IO and Tidings clients on one port, services that only see an event bus.
