#include "runtime/Core/Recorder.h"

#include <cstring>
#include <time.h>

namespace moe::rt {

int64_t monotonicNs() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * int64_t(1000000000) + time.tv_nsec;
}

void Recorder::observe(const char *name, const int32_t *ids, int64_t n,
                       int64_t experts) {
  if (!recordExperts || experts <= 0 || experts > maxExperts)
    return;
  while (lock.test_and_set(std::memory_order_acquire)) {
  }
  Layer *layer = nullptr;
  for (Layer &candidate : layers)
    if (candidate.name == name || !std::strcmp(candidate.name, name))
      layer = &candidate;
  if (!layer) {
    layers.push_back({name, {}});
    layer = &layers.back();
  }
  if (layer->counts.size() < static_cast<size_t>(experts))
    layer->counts.resize(experts);
  for (int64_t i = 0; i < n; ++i)
    if (ids[i] >= 0 && ids[i] < experts)
      ++layer->counts[ids[i]];
  lock.clear(std::memory_order_release);
}

void Recorder::phaseBegin(const char *name) {
  if (recordPhases)
    openPhases.push_back({name, monotonicNs()});
}

void Recorder::phaseEnd() {
  if (!recordPhases || openPhases.empty())
    return;
  Open phase = openPhases.back();
  openPhases.pop_back();
  if (finished.size() < maxPhases)
    finished.push_back({phase.name, phase.begin - origin,
                        monotonicNs() - origin,
                        static_cast<int32_t>(openPhases.size()), run});
}

const std::vector<moe_expert_counts> &Recorder::expertCounts() {
  view.clear();
  for (const Layer &layer : layers)
    view.push_back({layer.name, static_cast<int64_t>(layer.counts.size()),
                    layer.counts.data()});
  return view;
}

} // namespace moe::rt
