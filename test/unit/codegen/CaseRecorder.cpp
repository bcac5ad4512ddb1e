#include "test/unit/codegen/CaseRecorder.h"

#include "codegen/CUDA/Kernels.h"
#include "runtime/Core/Sha256.h"
#include "llvm/Support/raw_ostream.h"
#include "gtest/gtest.h"
#include <cmath>
#include <cstdlib>
#include <fstream>

using namespace moe;
using namespace moe::test;

static std::string folder() {
  const char *path = std::getenv("MOE_RECORD_CASES");
  return path ? path : "";
}

bool CaseRecorder::isWanted() { return !folder().empty(); }

/// Writes a file that is named after its content; returns the name.
static std::string writeBlob(std::string_view bytes, const char *suffix) {
  static const char *digits = "0123456789abcdef";
  std::string name;
  rt::Sha256::Digest digest = rt::Sha256::of(bytes);
  for (int i = 0; i < 10; ++i)
    (name += digits[digest[i] >> 4]) += digits[digest[i] & 15];
  name += suffix;
  std::ofstream file(folder() + "/" + name, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  EXPECT_TRUE(file.good()) << folder() << "/" << name;
  return name;
}

static std::string writeFloats(const std::vector<float> &values) {
  return writeBlob({reinterpret_cast<const char *>(values.data()),
                    values.size() * sizeof(float)},
                   ".bin");
}

void CaseRecorder::buffer(const void *begin, size_t bytes, const char *name) {
  buffers.push_back({static_cast<const uint8_t *>(begin), bytes, name, ""});
}

/// A buffer, a map of one, or a number.
std::string CaseRecorder::describe(const void *value) const {
  if (auto map = maps.find(value); map != maps.end())
    return map->second;
  for (size_t i = 0; i < buffers.size(); ++i)
    if (buffers[i].begin == value)
      return "@" + std::to_string(i);
  return std::to_string(reinterpret_cast<intptr_t>(value));
}

void CaseRecorder::map(const void *map, const void *buffer, uint64_t matrices,
                       uint64_t rows, uint64_t depth, uint32_t boxRows) {
  std::string text = describe(buffer);
  for (uint64_t number : {matrices, rows, depth, uint64_t(boxRows)})
    text += ":" + std::to_string(number);
  maps[map] = text;
}

void CaseRecorder::launch(const char *name, uint32_t blocks, uint32_t threads,
                          uint32_t sharedBytes,
                          const std::vector<void *> &values) {
  auto text = [](auto number) { return std::to_string(number); };
  launches += std::string("launch ") + name + " " + text(blocks) + " " +
              text(threads) + " " + text(sharedBytes);
  for (void *value : values)
    launches += " " + describe(value);
  launches += "\n";
  for (Buffer &buffer : buffers)
    if (buffer.before.empty())
      buffer.before.assign(reinterpret_cast<const char *>(buffer.begin),
                           buffer.bytes);
}

void CaseRecorder::expect(const std::vector<double> &values,
                          const std::vector<double> &allowed) {
  // Half the size, and what that rounds off is allowed, too.
  for (size_t i = 0; i < values.size(); ++i) {
    this->values.push_back(static_cast<float>(values[i]));
    this->allowed.push_back(static_cast<float>(
        allowed[i] * (1 + 0x1p-22) +
        std::abs(values[i] - static_cast<double>(this->values.back()))));
  }
}

/// The kernels as comments, where the environment has MOE_RECORD_MODULES: that
/// is what the emulator can run of PTX (tools/moe-cuda-emulator).
static std::string comments(mlir::ModuleOp kernels) {
  if (!std::getenv("MOE_RECORD_MODULES"))
    return "";
  std::string text, commented;
  llvm::raw_string_ostream(text) << kernels;
  llvm::StringRef rest = text;
  while (!rest.empty()) {
    auto [line, next] = rest.split('\n');
    commented += ("//! " + line + "\n").str();
    rest = next;
  }
  return commented;
}

void CaseRecorder::write(mlir::ModuleOp kernels,
                         std::map<std::string, std::string> &ptx) {
  if (ptx.empty()) {
    std::vector<llvm::StringRef> archs = {"sm_90a"};
    if (maps.empty())
      archs.push_back("sm_80");
    auto made = cuda::emitPtx(kernels, archs);
    ASSERT_TRUE(static_cast<bool>(made)) << llvm::toString(made.takeError());
    for (size_t i = 0; i < archs.size(); ++i)
      ptx[archs[i].str()] = writeBlob((*made)[i] + comments(kernels), ".ptx");
  }
  std::string text = "moe-cuda-case 1\n";
  for (const auto &[arch, file] : ptx)
    text += "ptx " + arch + " " + file + "\n";
  for (const Buffer &buffer : buffers)
    text += "buffer " + std::to_string(buffer.bytes) + " " +
            writeBlob(buffer.before, ".bin") + "\n";
  text += launches;
  for (size_t i = 0; i < buffers.size(); ++i) {
    const Buffer &buffer = buffers[i];
    std::string after = writeBlob(
        {reinterpret_cast<const char *>(buffer.begin), buffer.bytes}, ".bin");
    // Sorting and rounding have one right result, to the last bit.
    for (const char *exact :
         {"offsets", "order", "place", "active", "active count", "rounded"})
      if (buffer.name == exact)
        text += "exact " + std::to_string(i) + " " + after + "\n";
    if (buffer.name == "out")
      text += values.empty()
                  ? "kinds " + std::to_string(i) + " " + after + "\n"
                  : "near " + std::to_string(i) + " " + after + " " +
                        writeFloats(values) + " " + writeFloats(allowed) + "\n";
  }
  const testing::TestInfo *test =
      testing::UnitTest::GetInstance()->current_test_info();
  std::string name = std::string(test->test_suite_name()) + "." + test->name();
  for (char &c : name)
    if (c == '/')
      c = '-';
  // Cases of a test are counted.
  static std::map<std::string, int> counts;
  std::string number = std::to_string(++counts[name]);
  std::ofstream file(folder() + "/" + name + "." +
                     std::string(3 - std::min<size_t>(3, number.size()), '0') +
                     number + ".case");
  file << text;
  EXPECT_TRUE(file.good());
}
