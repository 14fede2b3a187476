// PM2: pm2 start deploy/ecosystem.config.cjs
//
// One instance takes all processors, so a second one on the same machine is for restarts without a
// gap, not for speed. Instance N listens on port FIRST_PORT + N; a proxy in front of them shares out the
// clients. Redis is where TIDINGS_REDIS says.
const os = require("node:os");

const count = Number(process.env.INSTANCES ?? 2);
const firstPort = Number(process.env.FIRST_PORT ?? 9000);
const redis = process.env.TIDINGS_REDIS ?? "redis://127.0.0.1:6379";
const program = process.env.PROGRAM ?? "tidings-server";

module.exports = {
  apps: Array.from({ length: count }, (_, n) => ({
    name: `tidings-${n}`,
    script: program,
    interpreter: "none",
    exec_mode: "fork",
    env: {
      TIDINGS_LISTEN: `127.0.0.1:${firstPort + n}`,
      TIDINGS_INSTANCE: `${os.hostname()}-${n}`,
      TIDINGS_REDIS: redis,
      // Without a key nobody is authenticated, and only pages of this machine may connect: list yours.
      TIDINGS_PAGES_ORIGINS: process.env.TIDINGS_PAGES_ORIGINS ?? "*",
    },
    // PM2 sends SIGINT, on which the server moves its clients elsewhere, and kills after so many
    // milliseconds: more than timeouts.drain.
    kill_timeout: 15000,
    // Wrong usage or configuration: it would not get better.
    stop_exit_codes: [2],
    exp_backoff_restart_delay: 200,
  })),
};
