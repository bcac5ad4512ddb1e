#include "runtime/Core/Recorder.h"

#include <cstring>
#include <time.h>

namespace moe::rt {

int64_t monotonicNs() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * int64_t(1000000000) + time.tv_nsec;
}

LayerMeasures &Recorder::find(const char *name) {
  for (LayerMeasures &layer : layers)
    if (layer.layer() == name || !std::strcmp(layer.layer(), name))
      return layer;
  layers.emplace_back(name, sampleSeed);
  return layers.back();
}

void Recorder::observe(const char *name, const int32_t *ids, int64_t n,
                       int64_t experts) {
  if (!recordExperts || experts <= 0 || experts > maxExperts)
    return;
  while (lock.test_and_set(std::memory_order_acquire)) {
  }
  find(name).count(ids, n, experts);
  lock.clear(std::memory_order_release);
}

Code Recorder::measure(const char *name, int32_t measure, int32_t score,
                       int64_t experts, const moert_tensor *values,
                       int32_t count) {
  if (!recordExperts || experts <= 0 || experts > maxExperts)
    return Code::Ok;
  return find(name).add(measure, score, experts, values, count);
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
  for (const LayerMeasures &layer : layers) {
    const std::vector<int64_t> &counts = layer.expertCounts();
    view.push_back({layer.layer(), static_cast<int64_t>(counts.size()),
                    reinterpret_cast<const uint64_t *>(counts.data())});
  }
  return view;
}

const std::vector<moe_layer_measure> &Recorder::measures() {
  list.clear();
  for (LayerMeasures &layer : layers)
    layer.list(list);
  return list;
}

} // namespace moe::rt
