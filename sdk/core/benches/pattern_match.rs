//! What it costs to find the patterns that match a name, among 10, 1,000 and 10,000 of them.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tidings_core::{Pattern, PatternIndex};

#[path = "workloads/mod.rs"]
mod workloads;
use workloads::{SIZES, Workload};

fn bench(c: &mut Criterion) {
    for workload in Workload::ALL {
        let mut group = c.benchmark_group(format!("pattern_match/{}", workload.title));
        for size in SIZES {
            let mut index = PatternIndex::new();
            for (number, pattern) in (0_u32..).zip((workload.patterns)(size)) {
                index.insert(&Pattern::new(pattern).expect("a pattern"), number);
            }
            let name = (workload.name)(size);
            let mut found = Vec::new();
            index.match_into(&name, &mut found);
            assert_eq!(found.len(), workload.matching);
            group.bench_function(BenchmarkId::from_parameter(size), |b| {
                b.iter(|| {
                    found.clear();
                    index.match_into(black_box(&name), &mut found);
                    found.len()
                });
            });
        }
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
