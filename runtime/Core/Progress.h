// How far long work is.
#ifndef MOE_RUNTIME_CORE_PROGRESS_H
#define MOE_RUNTIME_CORE_PROGRESS_H

#include <cstdint>

namespace moe::rt {

/// Told after each portion of work how much is done, and of how much.
struct Progress {
  void (*tell)(void *user, uint64_t done, uint64_t total) = nullptr;
  void *user = nullptr;
};

/// Adds up parts of work. That all is done, only finish() says: what was added
/// last may still be on its way.
class ProgressSum {
public:
  ProgressSum(const Progress &to, uint64_t total) : to(to), total(total) {
    tell(0);
  }

  /// For a part that tells how far it is itself.
  Progress part() {
    return {[](void *user, uint64_t done, uint64_t) {
              auto &sum = *static_cast<ProgressSum *>(user);
              sum.tell(sum.done + done);
            },
            this};
  }
  void add(uint64_t amount) { tell(done += amount); }
  void finish() {
    if (to.tell)
      to.tell(to.user, total, total);
  }

private:
  void tell(uint64_t now) {
    if (to.tell && now < total)
      to.tell(to.user, now, total);
  }

  Progress to;
  uint64_t total, done = 0;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_CORE_PROGRESS_H
