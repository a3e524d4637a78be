plugins {
    alias(libs.plugins.kotlin.jvm)
    `maven-publish`
}

java {
    sourceCompatibility = JavaVersion.VERSION_1_8
    targetCompatibility = JavaVersion.VERSION_1_8
    withSourcesJar()
}

kotlin {
    explicitApi()
    compilerOptions {
        // The API that old Androids have, whatever JDK builds this.
        freeCompilerArgs.add("-Xjdk-release=1.8")
    }
}

publishing {
    publications.create<MavenPublication>("library") {
        artifactId = "mnet-core"
        from(components["java"])
    }
}

dependencies {
    testImplementation(libs.junit)
    testRuntimeOnly(libs.junit.launcher)
}

tasks.test {
    useJUnitPlatform()
    systemProperty("mnet.vectors", rootDir.resolve("../tests/vectors").path)
}
