//! One realtime client for Socket.IO and plain WebSocket servers: typed, recovering, never losing an event.
