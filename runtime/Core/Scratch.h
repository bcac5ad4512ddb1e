// Per-thread memory of kernel bodies.
#ifndef MOE_RUNTIME_CORE_SCRATCH_H
#define MOE_RUNTIME_CORE_SCRATCH_H

#include <cstddef>
#include <cstdint>

namespace moe::rt {

/// A stack of bytes for one thread: take some, go back to a mark. Memory is
/// kept, and becomes one block once a larger one was needed. 64-byte aligned.
class Scratch {
public:
  struct Mark {
    int block = 0;
    size_t offset = 0;
  };

  Scratch() = default;
  ~Scratch();
  Scratch(const Scratch &) = delete;
  Scratch &operator=(const Scratch &) = delete;

  /// Null when negative or not to be had.
  void *allocate(int64_t bytes);
  Mark mark() const { return position; }
  void release(Mark mark);

private:
  struct Block {
    char *data = nullptr;
    size_t size = 0;
  };
  static constexpr int maxBlocks = 48; // each at least doubles the last

  Block blocks[maxBlocks];
  Mark position;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_CORE_SCRATCH_H
