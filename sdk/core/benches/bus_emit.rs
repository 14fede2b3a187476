//! What it costs to emit an event on the bus, among 10, 1,000 and 10,000 listeners.
#![allow(clippy::disallowed_methods, reason = "it measures time")]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tidings_core::{EventBus, Payload};

#[path = "workloads/mod.rs"]
mod workloads;
use workloads::{SIZES, Workload};

/// A bus with the listeners of a workload, all of which count in one place.
fn bus(workload: &Workload, size: usize) -> EventBus {
    let bus = EventBus::default();
    bus.set_max_listeners(0);
    let calls = Arc::new(AtomicU64::new(0));
    for pattern in (workload.patterns)(size) {
        let calls = calls.clone();
        bus.on(pattern, move |_| {
            // As cheap as counting in a JavaScript variable.
            calls.store(calls.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        })
        .expect("a pattern")
        .detach();
    }
    bus
}

fn emit(c: &mut Criterion) {
    for workload in Workload::ALL {
        let mut group = c.benchmark_group(format!("bus_emit/{}", workload.title));
        for size in SIZES {
            let bus = bus(&workload, size);
            let event = bus.event((workload.name)(size), Payload::NULL).expect("a name");
            assert_eq!(bus.emit(&event), workload.matching);
            group.bench_function(BenchmarkId::from_parameter(size), |b| {
                b.iter(|| bus.emit(black_box(&event)));
            });
        }
    }
}

/// The time per emission when several threads emit the same event without pause.
fn threads(c: &mut Criterion) {
    let workload = &Workload::ALL[0];
    let mut group = c.benchmark_group("bus_emit/threads");
    for threads in [1, 2, 4] {
        let bus = EventBus::default();
        bus.on((workload.name)(1000), |event| {
            black_box(event);
        })
        .expect("a pattern")
        .detach();
        let event = bus.event((workload.name)(1000), Payload::NULL).expect("a name");
        group.bench_function(BenchmarkId::from_parameter(threads), |b| {
            b.iter_custom(|rounds| {
                let start = Instant::now();
                std::thread::scope(|scope| {
                    for _ in 0..threads {
                        scope.spawn(|| {
                            for _ in 0..rounds / threads {
                                bus.emit(black_box(&event));
                            }
                        });
                    }
                });
                start.elapsed()
            });
        });
    }
}

/// Adding and removing a listener among others.
fn register(c: &mut Criterion) {
    let mut group = c.benchmark_group("bus_on_off");
    for size in SIZES {
        let bus = bus(&Workload::ALL[0], size);
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| drop(bus.on("app.e1.new", |_| ())));
        });
    }
}

/// Making an event and emitting it, as a service does.
fn make_and_emit(c: &mut Criterion) {
    let bus = bus(&Workload::ALL[0], 1000);
    let name: Arc<str> = (Workload::ALL[0].name)(1000).into();
    c.bench_function("bus_event_and_emit", |b| {
        b.iter(|| bus.emit(&bus.event(black_box(&name).clone(), Payload::NULL).expect("a name")));
    });
}

criterion_group!(benches, emit, threads, register, make_and_emit);
criterion_main!(benches);
