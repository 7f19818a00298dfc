# Headers, libraries, tools, pkg-config file and CMake package.
include(CMakePackageConfigHelpers)

install(DIRECTORY include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(TARGETS mproc_shared mproc_static EXPORT mproc
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(TARGET mproc-timeline)
  install(TARGETS mproc-timeline RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  install(FILES tools/mproc-timeline.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
endif()

install(FILES share/mproc-agent@.service share/mproc-farm.slurm DESTINATION ${CMAKE_INSTALL_DATADIR}/mproc)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/mproc)
install(EXPORT mproc NAMESPACE mproc:: FILE mproc-targets.cmake DESTINATION ${package_dir})
configure_package_config_file(cmake/mproc-config.cmake.in mproc-config.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(mproc-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/mproc-config.cmake ${PROJECT_BINARY_DIR}/mproc-config-version.cmake
  DESTINATION ${package_dir})

# Absolute paths, where the user gave such, must not be prefixed again.
cmake_path(ABSOLUTE_PATH CMAKE_INSTALL_LIBDIR BASE_DIRECTORY ${CMAKE_INSTALL_PREFIX} OUTPUT_VARIABLE pc_libdir)
cmake_path(ABSOLUTE_PATH CMAKE_INSTALL_INCLUDEDIR BASE_DIRECTORY ${CMAKE_INSTALL_PREFIX} OUTPUT_VARIABLE pc_includedir)
configure_file(cmake/mproc.pc.in mproc.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/mproc.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
