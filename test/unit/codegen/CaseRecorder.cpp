#include "test/unit/codegen/CaseRecorder.h"

#include "codegen/CUDA/Kernels.h"
#include "dialects/MoEGPU/MoEGPUOps.h"
#include "runtime/Core/Sha256.h"
#include "runtime/Emulator/Numbers.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/raw_ostream.h"
#include "gtest/gtest.h"
#include <cmath>
#include <cstdlib>
#include <cstring>
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

size_t CaseRecorder::buffer(const void *begin, size_t bytes) {
  buffers.push_back({static_cast<const uint8_t *>(begin), bytes, "", ""});
  comparisons.emplace_back();
  return buffers.size() - 1;
}

size_t CaseRecorder::at(const void *begin) const {
  size_t i = 0;
  while (i < buffers.size() && buffers[i].begin != begin)
    ++i;
  return i;
}

/// A buffer, a map of one, or a number.
std::string CaseRecorder::describe(uint64_t value) const {
  const void *pointer = reinterpret_cast<const void *>(value);
  if (auto map = maps.find(pointer); map != maps.end())
    return map->second;
  if (size_t i = at(pointer); i < buffers.size())
    return "@" + std::to_string(i);
  return std::to_string(static_cast<int64_t>(value));
}

void CaseRecorder::map(const void *map, const void *buffer, uint64_t matrices,
                       uint64_t rows, uint64_t depth, uint32_t boxRows) {
  std::string text = "@" + std::to_string(at(buffer));
  for (uint64_t number : {matrices, rows, depth, uint64_t(boxRows)})
    text += ":" + std::to_string(number);
  maps[map] = text;
}

void CaseRecorder::launch(const char *name, uint32_t blocks, uint32_t threads,
                          uint32_t sharedBytes,
                          const std::vector<uint64_t> &values) {
  auto text = [](auto number) { return std::to_string(number); };
  launches += std::string("launch ") + name + " " + text(blocks) + " " +
              text(threads) + " " + text(sharedBytes);
  for (uint64_t value : values)
    launches += " " + describe(value);
  launches += "\n";
  for (Buffer &buffer : buffers)
    if (buffer.before.empty())
      buffer.before.assign(reinterpret_cast<const char *>(buffer.begin),
                           buffer.bytes);
}

void CaseRecorder::keepResults() {
  for (Buffer &buffer : buffers)
    buffer.after.assign(reinterpret_cast<const char *>(buffer.begin),
                        buffer.bytes);
}

void CaseRecorder::expectExact(size_t buffer) {
  comparisons[buffer] = {Kind::Exact, Element::I32, {}, {}};
}

void CaseRecorder::expectKinds(size_t buffer, Element element) {
  comparisons[buffer] = {Kind::Kinds, element, {}, {}};
}

void CaseRecorder::expectNear(size_t buffer, Element element,
                              const std::vector<double> &values,
                              const std::vector<double> &allowed) {
  Comparison made{Kind::Near, element, {}, {}};
  // Half the size, and what that rounds off is allowed, too; but zero is zero.
  for (size_t i = 0; i < values.size(); ++i) {
    made.values.push_back(static_cast<float>(values[i]));
    double off = std::abs(values[i] - static_cast<double>(made.values.back()));
    made.allowed.push_back(
        !std::isfinite(values[i])
            ? 0
            : static_cast<float>(allowed[i] * (1 + 0x1p-22) + off));
  }
  comparisons[buffer] = std::move(made);
}

static size_t sizeOf(CaseRecorder::Element element) {
  return element == CaseRecorder::Element::BF16 ||
                 element == CaseRecorder::Element::F16
             ? 2
             : 4;
}

/// A number that lies in memory.
static float numberAt(const std::string &bytes, CaseRecorder::Element element,
                      size_t i) {
  uint32_t bits = 0;
  std::memcpy(&bits, bytes.data() + i * sizeOf(element), sizeOf(element));
  switch (element) {
  case CaseRecorder::Element::F32:
    return emu::floatOf(bits);
  case CaseRecorder::Element::BF16:
    return emu::fromBf16(static_cast<uint16_t>(bits));
  case CaseRecorder::Element::F16:
    return emu::fromF16(static_cast<uint16_t>(bits));
  case CaseRecorder::Element::I32:
    return static_cast<float>(static_cast<int32_t>(bits));
  }
  return 0;
}

/// A line of the case, or nothing.
std::string CaseRecorder::comparison(size_t number) const {
  Comparison comparison = comparisons[number];
  const Buffer &buffer = buffers[number];
  if (comparison.kind == Kind::None)
    return "";
  size_t count = buffer.bytes / sizeOf(comparison.element);
  bool hasNaN = false;
  for (size_t i = 0; i < count; ++i)
    hasNaN |= std::isnan(numberAt(buffer.after, comparison.element, i));
  // What seems untouched may have been written again.
  if (comparison.kind == Kind::Kinds && buffer.before == buffer.after) {
    comparison.kind = Kind::Near;
    for (size_t i = 0; i < count; ++i)
      comparison.values.push_back(
          numberAt(buffer.after, comparison.element, i));
    comparison.allowed.assign(count, 0);
  }
  // A NaN has many forms, of which a GPU makes another.
  if (comparison.kind == Kind::Near && !hasNaN &&
      llvm::all_of(comparison.allowed, [](float some) { return some == 0; }))
    comparison.kind = Kind::Exact;
  std::string place = " " + std::to_string(number) + " ";
  std::string after = writeBlob(buffer.after, ".bin");
  if (comparison.kind == Kind::Exact)
    return "exact" + place + after + "\n";
  static const char *const elements[] = {"f32", "bf16", "f16", "i32"};
  place += elements[static_cast<int>(comparison.element)];
  if (comparison.kind == Kind::Kinds)
    return "kinds" + place + " " + after + "\n";
  return "near" + place + " " + after + " " + writeFloats(comparison.values) +
         " " + writeFloats(comparison.allowed) + "\n";
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

/// Architectures that have the instructions of kernels for any GPU: sm_89 is
/// the first that knows E4M3 numbers.
static std::vector<llvm::StringRef> archsOf(mlir::ModuleOp kernels) {
  bool hasE4M3 =
      kernels
          ->walk([](mlir::Operation *op) {
            auto product = mlir::dyn_cast<moegpu::MmaOp>(op);
            return (product && product.getKind() == moegpu::MmaKind::E4M3) ||
                           mlir::isa<moegpu::RoundE4M3Op>(op)
                       ? mlir::WalkResult::interrupt()
                       : mlir::WalkResult::advance();
          })
          .wasInterrupted();
  return {"sm_90a", hasE4M3 ? "sm_89" : "sm_80"};
}

void CaseRecorder::write(mlir::ModuleOp kernels,
                         std::map<std::string, std::string> &ptx,
                         bool isHopper) {
  if (ptx.empty()) {
    std::vector<llvm::StringRef> archs = archsOf(kernels);
    if (isHopper)
      archs = {"sm_90a"};
    auto made = cuda::emitPtx(kernels, archs);
    ASSERT_TRUE(static_cast<bool>(made)) << llvm::toString(made.takeError());
    for (size_t i = 0; i < archs.size(); ++i)
      ptx[archs[i].str()] = writeBlob((*made)[i] + comments(kernels), ".ptx");
  }
  std::string text = "moe-cuda-case 2\n";
  for (const auto &[arch, file] : ptx)
    text += "ptx " + arch + " " + file + "\n";
  for (const Buffer &buffer : buffers)
    text += "buffer " + std::to_string(buffer.bytes) + " " +
            writeBlob(buffer.before, ".bin") + "\n";
  text += launches;
  for (size_t i = 0; i < buffers.size(); ++i)
    text += comparison(i);
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
