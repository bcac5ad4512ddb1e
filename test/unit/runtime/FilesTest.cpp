// .npy and .npz, good ones and bad ones.
#include "runtime/Core/Tensor.h"
#include "runtime/Runner/Npz.h"
#include "runtime/Runner/Random.h"

#include <cstring>
#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

using namespace moe::rt;

namespace {

std::string npy(const std::string &dictionary, const std::string &data,
                char version = 1) {
  std::string header = dictionary + "\n";
  std::string out = "\x93NUMPY";
  out += version;
  out += '\0';
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i)
    out += static_cast<char>(header.size() >> 8 * i & 0xFF);
  return out + header + data;
}

std::string error(const std::string &bytes) {
  auto array = parseNpy(bytes, "f.npy");
  EXPECT_FALSE(array);
  return array.error().message;
}

/// A folder that is gone afterwards.
class Folder {
public:
  Folder() : path(testing::TempDir() + "moe-files-XXXXXX") {
    EXPECT_NE(mkdtemp(path.data()), nullptr);
  }
  ~Folder() {
    for (const std::string &file : files)
      unlink(file.c_str());
    rmdir(path.c_str()); // fails when something else was left: see Leftovers
  }
  std::string file(const std::string &name) {
    files.push_back(path + "/" + name);
    return files.back();
  }
  bool isEmptyOfOthers() {
    for (const std::string &file : files)
      unlink(file.c_str());
    return rmdir(path.c_str()) == 0;
  }

private:
  std::string path;
  std::vector<std::string> files;
};

void put(std::string &out, uint64_t value, int size) {
  for (int i = 0; i < size; ++i)
    out += static_cast<char>(value >> 8 * i & 0xFF);
}

std::string deflate(const std::string &data) {
  z_stream stream = {};
  deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY);
  std::string out(data.size() + 100, '\0');
  stream.next_in = reinterpret_cast<Bytef *>(const_cast<char *>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef *>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

struct ZipMember {
  std::string name, data;
  uint16_t method = 0, flags = 0;
  int64_t checksumError = 0, sizeError = 0;
  bool zip64 = false; // as numpy writes: in the local header only
};

std::string zip(const std::vector<ZipMember> &members) {
  std::string out, directory;
  for (const ZipMember &m : members) {
    std::string packed = m.method == 8 ? deflate(m.data) : m.data;
    uint64_t crc = crc32(0, reinterpret_cast<const Bytef *>(m.data.data()),
                         static_cast<uInt>(m.data.size())) +
                   static_cast<uint64_t>(m.checksumError);
    uint64_t size = m.data.size() + static_cast<uint64_t>(m.sizeError);
    uint64_t start = out.size();
    std::string extra;
    if (m.zip64) {
      put(extra, 1, 2);
      put(extra, 16, 2);
      put(extra, size, 8);
      put(extra, packed.size(), 8);
    }
    put(out, 0x04034b50, 4);
    put(out, 45, 2);
    put(out, m.flags, 2);
    put(out, m.method, 2);
    put(out, 0, 4);
    put(out, crc, 4);
    put(out, m.zip64 ? 0xFFFFFFFF : packed.size(), 4);
    put(out, m.zip64 ? 0xFFFFFFFF : size, 4);
    put(out, m.name.size(), 2);
    put(out, extra.size(), 2);
    out += m.name + extra + packed;
    put(directory, 0x02014b50, 4);
    put(directory, 45, 2);
    put(directory, 45, 2);
    put(directory, m.flags, 2);
    put(directory, m.method, 2);
    put(directory, 0, 4);
    put(directory, crc, 4);
    put(directory, packed.size(), 4);
    put(directory, size, 4);
    put(directory, m.name.size(), 2);
    put(directory, 0, 8);
    put(directory, 0, 4);
    put(directory, start, 4);
    directory += m.name;
  }
  uint64_t start = out.size();
  out += directory;
  put(out, 0x06054b50, 4);
  put(out, 0, 4);
  put(out, members.size(), 2);
  put(out, members.size(), 2);
  put(out, directory.size(), 4);
  put(out, start, 4);
  put(out, 0, 2);
  return out;
}

std::string zipError(const std::string &bytes) {
  auto arrays = parseNpz(bytes, "f.npz");
  EXPECT_FALSE(arrays);
  return arrays.error().message;
}

const std::string pair =
    npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }",
        std::string("\0\0\x80\x3f\0\0\0\xc0", 8));

} // namespace

TEST(Npy, ReadsWhatNumpyWrites) {
  auto array = parseNpy(pair, "f.npy");
  ASSERT_TRUE(array) << array.error().message;
  EXPECT_EQ(array->tensor.dtype, MOE_F32);
  ASSERT_EQ(array->tensor.rank, 1);
  EXPECT_EQ(array->tensor.shape[0], 2);
  EXPECT_EQ(static_cast<float *>(array->tensor.data)[1], -2.0f);
  // Formats 2 and 3, scalars, empty arrays, double quotes, other order.
  auto two = parseNpy(
      npy("{\"shape\": (), \"descr\": \"|u1\", \"fortran_order\": True}", "x",
          2),
      "f.npy");
  ASSERT_TRUE(two) << two.error().message;
  EXPECT_EQ(two->tensor.rank, 0);
  auto empty = parseNpy(
      npy("{'descr': '<i8', 'fortran_order': False, 'shape': (3, 0), }", "", 3),
      "f.npy");
  ASSERT_TRUE(empty) << empty.error().message;
  EXPECT_EQ(empty->tensor.shape[0], 3);
  auto bits = parseNpy(
      npy("{'descr': '|V2', 'fortran_order': False, 'shape': (1,), }", "ab"),
      "f.npy");
  ASSERT_TRUE(bits);
  EXPECT_EQ(bits->tensor.dtype, MOE_BF16);
}

TEST(Npy, SaysWhatIsWrong) {
  auto dict = [](const char *descr, const char *order, const char *shape) {
    return std::string("{'descr': ") + descr + ", 'fortran_order': " + order +
           ", 'shape': " + shape + ", }";
  };
  EXPECT_EQ(error(""), "'f.npy' is not a .npy file: it does not start with "
                       "\\x93NUMPY");
  EXPECT_EQ(error("PK\x03\x04 something else"),
            "'f.npy' is not a .npy file: it does not start with \\x93NUMPY");
  EXPECT_EQ(error(pair.substr(0, 8)), "'f.npy' is truncated in its header");
  EXPECT_EQ(error(pair.substr(0, 20)), "'f.npy' is truncated in its header");
  EXPECT_EQ(error(pair.substr(0, pair.size() - 1)),
            "'f.npy' is truncated: its shape [2] needs 8 bytes of data, it has "
            "7");
  EXPECT_EQ(error(pair + "x"), "'f.npy' is too long: its shape [2] needs 8 "
                               "bytes of data, it has 9");
  EXPECT_EQ(error(npy(dict("'<f4'", "False", "(1,)"), "1234", 4)),
            "'f.npy' has .npy format 4.0, known are 1.0 to 3.0");
  EXPECT_EQ(error(npy(dict("'<f4'", "True", "(1, 1)"), "1234")),
            "'f.npy' is in Fortran order; save numpy.ascontiguousarray(x)");
  EXPECT_EQ(error(npy(dict("'|O'", "False", "(1,)"), "1234")),
            "'f.npy' holds Python objects or records, must hold numbers");
  EXPECT_EQ(error(npy(dict("[('a', '<f4')]", "False", "(1,)"), "1234")),
            "'f.npy' holds Python objects or records, must hold numbers");
  EXPECT_EQ(error(npy(dict("'>f4'", "False", "(1,)"), "1234")),
            "'f.npy' has elements of type '>f4', which is big-endian; save it "
            "little-endian");
  EXPECT_EQ(error(npy(dict("'<c8'", "False", "(1,)"), "12345678")),
            "'f.npy' has elements of type '<c8', which is not supported");
  EXPECT_EQ(error(npy(dict("'<f4'", "False", "(4611686018427387904, 4)"), "")),
            "'f.npy' has the shape [4611686018427387904, 4], which is too "
            "large");
  EXPECT_EQ(error(npy(dict("'<f4'", "False", "(99999999999999999999,)"), "")),
            "'f.npy' has a shape that is too large");
  EXPECT_EQ(error(npy(dict("'<f4'", "False", "(1,1,1,1,1,1,1,1,1)"), "1234")),
            "'f.npy' has a shape that is too large");
  for (const char *bad :
       {"", "{}", "{'descr': '<f4'}", "{'descr': '<f4', 'fortran_order': 0,",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), } x",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': "
        "(1,)}",
        "{'descr': [, 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1 2), }"})
    EXPECT_NE(error(npy(bad, "1234")).find("malformed .npy header"),
              std::string::npos)
        << bad;
}

TEST(Npz, ReadsStoredDeflatedAndZip64Members) {
  auto arrays = parseNpz(zip({{"x.npy", pair},
                              {"model|layer.0|out.npy", pair, 8},
                              {"z.npy", pair, 0, 0, 0, 0, true}}),
                         "f.npz");
  ASSERT_TRUE(arrays) << arrays.error().message;
  ASSERT_EQ(arrays->size(), 3u);
  EXPECT_EQ((*arrays)[1].name, "model/layer.0/out");
  for (Array &array : *arrays)
    EXPECT_EQ(static_cast<float *>(array.tensor.data)[0], 1.0f);
  EXPECT_TRUE(parseNpz(zip({}), "f.npz"));
}

TEST(Npz, SaysWhatIsWrong) {
  std::string good = zip({{"x.npy", pair, 8}});
  EXPECT_EQ(zipError(""),
            "'f.npz' is not an .npz file: it is too short for a zip archive");
  EXPECT_EQ(zipError(good.substr(0, good.size() - 3)),
            "'f.npz' is not an .npz file, or truncated: no zip directory");
  EXPECT_EQ(zipError(good.substr(5)), "'f.npz' has a damaged zip directory");
  EXPECT_EQ(zipError(zip({{"x.txt", pair}})),
            "'f.npz' has the member 'x.txt', which is not a .npy array");
  EXPECT_EQ(zipError(zip({{"x.npy", pair}, {"x.npy", pair}})),
            "'f.npz' holds 'x' twice");
  EXPECT_EQ(zipError(zip({{"x.npy", pair, 0, 1}})),
            "'f.npz' has the encrypted member 'x.npy'");
  EXPECT_EQ(zipError(zip({{"x.npy", pair, 12}})),
            "'f.npz' packs 'x.npy' by zip method 12; known are 0 (stored) and "
            "8 (deflated)");
  EXPECT_EQ(zipError(zip({{"x.npy", pair, 8, 0, 1}})),
            "'f.npz' has damaged data in 'x.npy': its checksum is wrong");
  EXPECT_EQ(zipError(zip({{"x.npy", pair, 8, 0, 0, 5}})),
            "'f.npz' has damaged data in 'x.npy'");
  EXPECT_EQ(zipError(zip({{"x.npy", pair, 8, 0, 0, 1 << 30}})),
            "'f.npz' has an impossible size for 'x.npy'");
  EXPECT_EQ(zipError(zip({{"x.npy", pair, 0, 0, 0, 5}})),
            "'f.npz' has an impossible size for 'x.npy'");
  EXPECT_EQ(zipError(zip({{"x.npy", "hello"}})),
            "'f.npz:x.npy' is not a .npy file: it does not start with "
            "\\x93NUMPY");
}

// Whatever the bytes, the readers answer and stay in bounds (sanitizer builds
// check the latter).
TEST(Npz, SurvivesMutations) {
  std::string good = zip({{"x.npy", pair, 8},
                          {"model|y.npy", pair},
                          {"z.npy", pair, 0, 0, 0, 0, true}});
  Random random(7);
  int refused = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string bytes = i % 2 ? good : pair;
    for (uint64_t edits = 1 + random.below(4); edits; --edits)
      bytes[random.below(bytes.size())] = static_cast<char>(
          random.below(3) ? random.next() : 0xFF * random.below(2));
    if (random.below(4) == 0)
      bytes.resize(random.below(bytes.size() + 1));
    refused += i % 2 ? !parseNpz(bytes, "f") : !parseNpy(bytes, "f");
  }
  EXPECT_GT(refused, 5000);
  EXPECT_LT(refused, 20000);
}

TEST(Npz, WritesWhatItReads) {
  Folder folder;
  std::string path = folder.file("all.npz");
  std::vector<NamedTensor> tensors;
  std::vector<int64_t> data(24);
  for (size_t i = 0; i < data.size(); ++i)
    data[i] = static_cast<int64_t>(i * i) - 7;
  for (int32_t dtype : {MOE_F32, MOE_F64, MOE_F16, MOE_I64, MOE_I32, MOE_I16,
                        MOE_I8, MOE_U64, MOE_U32, MOE_U16, MOE_U8, MOE_BF16})
    for (int32_t rank = 0; rank <= 4; ++rank)
      tensors.push_back({dtypeName(dtype) + "/" + std::to_string(rank),
                         {data.data(), dtype, rank, {2, 3, 1, 2}}});
  tensors.push_back({"empty", {nullptr, MOE_F32, 2, {0, 5}}});
  Status status = writeNpz(path, tensors);
  ASSERT_TRUE(status.ok()) << status.message;
  auto arrays = readNpz(path);
  ASSERT_TRUE(arrays) << arrays.error().message;
  ASSERT_EQ(arrays->size(), tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    const moe_tensor &want = tensors[i].tensor, &got = (*arrays)[i].tensor;
    EXPECT_EQ((*arrays)[i].name, tensors[i].name);
    EXPECT_EQ(got.dtype, want.dtype == MOE_BF16 ? MOE_U16 : want.dtype);
    ASSERT_EQ(*byteSize(got), *byteSize(want));
    if (*byteSize(got))
      EXPECT_EQ(std::memcmp(got.data, want.data, *byteSize(got)), 0);
  }
  EXPECT_TRUE(folder.isEmptyOfOthers());
}

TEST(Files, NothingHalfWrittenStays) {
  Folder folder;
  std::string path = folder.file("out");
  {
    auto file = OutputFile::create(path);
    ASSERT_TRUE(file);
    (*file)->write("old");
    ASSERT_TRUE((*file)->commit().ok());
  }
  {
    auto file = OutputFile::create(path);
    ASSERT_TRUE(file);
    (*file)->write("new");
  }
  auto bytes = readFile(path);
  ASSERT_TRUE(bytes);
  EXPECT_EQ(bytes->view(), "old");
  EXPECT_TRUE(folder.isEmptyOfOthers());
}

TEST(Files, ErrorsNameTheFile) {
  EXPECT_EQ(readFile("/nonexistent/x").error().message,
            "cannot read '/nonexistent/x': No such file or directory");
  EXPECT_EQ(readFile("/").error().message, "cannot read '/': Is a directory");
  EXPECT_EQ(OutputFile::create("/nonexistent/x").error().message,
            "cannot write '/nonexistent/x': No such file or directory");
  auto full = OutputFile::create("/dev/full");
  ASSERT_TRUE(full);
  (*full)->write("x");
  EXPECT_EQ((*full)->commit().message,
            "cannot write '/dev/full': No space left on device");
}
